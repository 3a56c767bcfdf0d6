// Package gone is a plugin.
package gone

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.gone", New: func() app.Module { return new(Plugin) }}
}
