//! One book per market, with a state that decides whether it may be traded on.
