//! Target descriptions: data files, their schema and host detection
