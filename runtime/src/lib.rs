//! The no_std runtime types of compiled avocet models
