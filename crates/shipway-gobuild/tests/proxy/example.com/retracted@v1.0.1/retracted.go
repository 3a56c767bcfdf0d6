// Package retracted is a plugin.
package retracted

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.retracted", New: func() app.Module { return new(Plugin) }}
}
