package measure

import "runtime"

// Machine tells two reports of one machine from those of two.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// ThisMachine describes where the program runs.
func ThisMachine() Machine {
	model, cores := processors()
	return Machine{
		CPU: model, Cores: cores, System: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel(),
		Go: runtime.Version(),
	}
}
