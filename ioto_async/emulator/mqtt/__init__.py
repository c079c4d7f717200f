"""MQTT as AWS IoT Core serves it: the broker, and the handlers of the messages of devices."""
