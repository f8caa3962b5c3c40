//! Messages between nodes, with fixed ordinals; the same over QUIC and over DCC.
