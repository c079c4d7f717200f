"""The MQTT side of the embedded cloud, in the way of AWS IoT Core: a broker, and what the cloud does with messages."""
