// Package future is a plugin.
package future

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.future", New: func() app.Module { return new(Plugin) }}
}
