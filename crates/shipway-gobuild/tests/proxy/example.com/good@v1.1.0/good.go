// Package good is a plugin.
package good

import "example.com/app"

func init() { app.RegisterModule(&Plugin{}) }

type Plugin struct{}

func (Plugin) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.good", New: func() app.Module { return new(Plugin) }}
}
