// Package pkg is a plugin.
package pkg

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.deep.sub", New: func() app.Module { return new(Plugin) }}
}
