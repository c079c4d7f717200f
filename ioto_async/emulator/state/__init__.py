"""The state of the embedded clouds and of the Builder in SQLite, and its rules; independent of HTTP and MQTT."""
