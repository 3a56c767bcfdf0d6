// Package broken is a plugin.
package broken

import "example.com/app"

func init() { app.RegisterModule(Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.broken", New: func() app.Module { return new(Plugin) }}
}

func wrong() int { return "no number" }
