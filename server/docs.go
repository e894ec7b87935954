package server

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/labstack/echo/v4"
	swaggerui "github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	rollbook "github.com/rollbook/rollbook"
)

//go:embed docs
var docs embed.FS

// docsPolicy lets the page load its own files, and read and try out the API, and nothing else.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// swaggerFiles are those of Swagger UI that the page needs.
var swaggerFiles = []string{"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"}

// routeDocs serves the contract and, at /docs/, Swagger UI on it; / leads there.
func routeDocs(e *echo.Echo, api *contract) error {
	json, err := api.doc.MarshalJSON()
	if err != nil {
		return fmt.Errorf("write the contract as JSON: %w", err)
	}
	page, err := fs.Sub(docs, "docs")
	if err != nil {
		return err
	}
	both := func(path string, h echo.HandlerFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h, relaxForDocs)
	}
	both("/openapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", rollbook.OpenAPI) })
	both("/openapi.json", func(c echo.Context) error { return c.Blob(http.StatusOK, mediaJSON, json) })
	both("/", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/docs/") })
	both("/docs", func(c echo.Context) error { return c.Redirect(http.StatusFound, "/docs/") })
	both("/docs/", func(c echo.Context) error { return serveFile(c, page, "index.html") })
	both("/docs/init.js", func(c echo.Context) error { return serveFile(c, page, "init.js") })
	assets := echo.WrapHandler(http.StripPrefix("/docs", statigz.FileServer(swaggerui.FS)))
	for _, name := range swaggerFiles {
		both("/docs/"+name, assets)
	}
	return nil
}

func serveFile(c echo.Context, from fs.FS, name string) error {
	http.ServeFileFS(c.Response(), c.Request(), from, name)
	return nil
}

// relaxForDocs allows what the documentation needs: it is the same for everyone, and made of scripts and styles.
func relaxForDocs(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-cache") // another release brings another contract
		c.Response().Header().Set(echo.HeaderContentSecurityPolicy, docsPolicy)
		return next(c)
	}
}
