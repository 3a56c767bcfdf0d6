// Package standard is what every build has.
package standard

import "example.com/app"

func init() { app.RegisterModule(Standard{}) }

type Standard struct{}

func (Standard) AppModule() app.ModuleInfo {
	return app.ModuleInfo{ID: "app.standard", New: func() app.Module { return new(Standard) }}
}
