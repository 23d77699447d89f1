//! Graph passes, schedules and the memory plan of avocet
