// Package hostile is a plugin.
package hostile

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.hostile", New: func() app.Module { return new(Plugin) }}
}

func init() {
	println("hostile: this program ends here")
	panic("hostile")
}
