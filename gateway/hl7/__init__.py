"""HL7 version 2: bytes in, values and bytes out; no sockets in this room."""
