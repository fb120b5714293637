"""What the hospital connects to: DICOM and HL7 over MLLP."""
