"""`astguard setup`: what a host needs so that astguard hears Asterisk, planned, carried out, and taken back."""
