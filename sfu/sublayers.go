package sfu

// sublayers are the highest spatial and temporal layer within a stream that go out.
type sublayers struct{ spatial, temporal uint8 }

// cut is what of a followed stream goes out.
type cut struct {
	goal sublayers // wanted
}

// aim sets the goal. It reports whether that takes a keyframe.
func (c *cut) aim(spatial, temporal uint8) bool {
	higher := spatial > c.goal.spatial
	c.goal = sublayers{spatial, temporal}
	return higher
}

// begin begins with a keyframe, at which everything that is wanted can go out.
func (c *cut) begin() {}
