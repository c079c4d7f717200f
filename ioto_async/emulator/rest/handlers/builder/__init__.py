"""The handlers of the Builder's operations, a module for each controller.

They get the Builder, not the cloud at whose address they were called. A BuilderAPI token sees the products of its own
account, and their devices, whatever cloud these are claimed in.
"""
