// Package web holds the pages that the server shows: plain HTML, CSS and ES
// modules, embedded as they are.
//
// The tree is the one below /sim: js/app.js is served as /sim/js/app.js, and
// sim/index.html as /sim itself.
package web

import "embed"

// FS holds the pages and their assets.
//
//go:embed sim css icons js sw.js
var FS embed.FS
