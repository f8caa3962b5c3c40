//! From live books to opportunities.

mod walk;
