//go:build tools

// Package grpcui names what go.mod is for.
package grpcui

import _ "github.com/fullstorydev/grpcui/cmd/grpcui"
