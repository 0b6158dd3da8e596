package bus

// DeviceTopic returns the subject under which the nodes that hold a device's
// connections listen. What stands below it is the gateway's business.
func DeviceTopic(id string) string {
	return "securecam.device." + id
}
