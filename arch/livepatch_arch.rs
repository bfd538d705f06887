//! Architecture backends.
