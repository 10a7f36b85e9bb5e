"""Who is who in a fleet: keys, certificates, enrolments and signatures.

The robot's own Python reads an enrolment; all else needs the package cryptography, which comes
with Flower.
"""
