"""DICOM as bytes: contexts, protocol data units, commands, headers. No sockets in here."""
