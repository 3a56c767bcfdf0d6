// Package major is a plugin.
package major

import "example.com/app"

func init() { app.RegisterModule(new(Plugin)) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.major", New: func() app.Module { return new(Plugin) }}
}
