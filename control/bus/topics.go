package bus

// DeviceTopic returns the subject under which the nodes that hold a device's
// connections listen. What stands below it is the gateway's business.
func DeviceTopic(id string) string {
	return "securecam.device." + id
}

// WakeTopic returns the subject that wakes every worker of a queue. What it has
// to do is in the rows, never in the message.
func WakeTopic(queue string) string {
	return "securecam.wake." + queue
}

// NodeTopic returns the subject under which one node answers.
func NodeTopic(id string) string {
	return "securecam.node." + id
}

// ProcessesTopic is the subject under which all processes answer.
const ProcessesTopic = "securecam.processes"
