package password

// Acquire takes one of the slots, for tests of what happens while it is taken.
var Acquire = (*Hasher).acquire
