//! The same action on many runs that a filter finds.
