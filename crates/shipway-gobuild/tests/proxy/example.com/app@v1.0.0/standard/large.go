//go:build !small

package standard

import "example.com/app"

func init() { app.RegisterModule(Large{}) }

type Large struct{}

func (Large) AppModule() app.ModuleInfo { return app.ModuleInfo{ID: "app.large"} }
