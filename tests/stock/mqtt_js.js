// MQTT.js as a device: takes a JSON object a line, says one for each, and others for messages and the end.
'use strict'
const fs = require('fs')
const mqtt = require('mqtt')
const lines = require('readline').createInterface({input: process.stdin})

let client

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')
const done = (error, reply) => say(error ? {error: error.message} : {reply})

const actions = {
    connect({url, options}) {
        for (const name of ['ca', 'cert', 'key']) options[name] = fs.readFileSync(options[name])
        client = mqtt.connect(url, {...options, reconnectPeriod: 0})
        client.once('connect', (packet) => done(null, packet.sessionPresent))
        client.on('error', (error) => client.connected || done(error))
        client.on('close', () => say({ended: true}))
        client.on('message', (topic, payload, packet) =>
            say({message: [topic, payload.toString('base64'), packet.retain]}))
    },
    subscribe({filters}) {
        client.subscribe(filters, {qos: 1}, (error, granted, packet) =>
            packet ? done(null, packet.granted) : done(error, []))
    },
    publish({topic, payload, options}) {
        client.publish(topic, payload, options, (error) => done(error, null))
    },
}

lines.on('line', (line) => {
    const {do: name, ...members} = JSON.parse(line)
    actions[name](members)
})
lines.on('close', () => (client ? client.end(() => process.exit(0)) : process.exit(0)))
