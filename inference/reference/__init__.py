"""The reference recipe: how the shipped bundle's weights are made from PTB-XL.

`python -m inference.reference DATA RUN` trains; `DATA` holds `ptbxl/` as `ptbxl.read` wants it.
Everything here is this project's declared choice on a stand-in endpoint (ischaemia pattern = MI or
STTC of PTB-XL); nothing is the paper's, and no figure from it is the paper's.
"""
