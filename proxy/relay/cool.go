package relay

// A cooler lets go of memory that it needs for traffic alone. It is called when
// there was none for a while, while no other method runs.
type cooler interface{ Cool() }

func cool(c Conn) {
	if c, ok := c.(cooler); ok {
		c.Cool()
	}
}
