//! A whole darknet on virtual time: seeded faults, invariants checked after every step.
