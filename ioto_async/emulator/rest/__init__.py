"""HTTP: the operations of a device cloud and of the Builder, sign-in, update images, and signed URLs."""
