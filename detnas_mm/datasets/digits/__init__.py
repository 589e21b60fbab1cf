"""The embedded digits data: handwritten digits on photographs."""
