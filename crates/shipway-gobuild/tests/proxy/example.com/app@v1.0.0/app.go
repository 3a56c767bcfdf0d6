// Package app is a small program that plugins register themselves with.
package app

// ModuleInfo is what a plugin says of itself.
type ModuleInfo struct {
	ID  string
	New func() Module
}

// Module is a plugin.
type Module interface {
	AppModule() ModuleInfo
}

var modules []ModuleInfo

// RegisterModule makes a plugin known.
func RegisterModule(m Module) { modules = append(modules, m.AppModule()) }

// Modules lists what is known.
func Modules() []ModuleInfo { return modules }
