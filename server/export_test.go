package server

// For returns the encoding that a login for a name without a password verifies.
func (d *Decoys) For(name string) string { return d.mix.For(name) }
