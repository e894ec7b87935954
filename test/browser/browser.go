// Package browser runs a real Chromium for tests, and hears what it complains of.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rollbook/rollbook/test/need"
)

// timeout bounds all that one test does with its page.
const timeout = 2 * time.Minute

// Page is a page of Chromium. Its methods fail the test where they do not get on.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	urls       []string
}

// Open opens an empty page in a browser of its own until the test ends. Where there is no Chromium it skips the test, or
// fails it under CI=true.
func Open(t testing.TB) *Page {
	t.Helper()
	p := &Page{t: t}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need.Program(t, "chromium", "chromium-browser", "google-chrome")), chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	p.ctx = ctx
	p.Do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}))
	return p
}

func (p *Page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, arg := range e.Args {
				p.complaints = append(p.complaints, fmt.Sprintf("console: %s %s", arg.Value, arg.Description))
			}
		}
	case *runtime.EventExceptionThrown:
		details := e.ExceptionDetails
		text := details.Text
		if details.Exception != nil {
			text += " " + details.Exception.Description
		}
		p.complaints = append(p.complaints, "exception: "+text)
	case *log.EventEntryAdded:
		p.complaints = append(p.complaints, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		p.urls = append(p.urls, e.Request.URL)
	}
}

// Complaints returns what has come since the last call: errors of the console, exceptions, and violations of the
// Content-Security-Policy.
func (p *Page) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.complaints
	p.complaints = nil
	return taken
}

// URLs returns what the page has asked for.
func (p *Page) URLs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.urls
}

// Do does one thing after the other.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// Get does something that has a result.
func Get[T any](p *Page, action chromedp.Action[T]) T {
	p.t.Helper()
	result, err := chromedp.Run(p.ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

// TryOut uses Swagger UI: it opens an operation, fills in the id where one is given, executes it, and returns the status
// and the members of the answer that the page shows.
func (p *Page) TryOut(operation string, id ...string) (status string, members map[string]any) {
	p.t.Helper()
	block := "#operations-" + operation
	open := Get(p, chromedp.Evaluate[bool](fmt.Sprintf(`document.querySelector("%s .opblock-body") !== null`, block)))
	if !open {
		p.Do(chromedp.Click(chromedp.CSS(block + " .opblock-summary-control")))
	}
	p.Do(chromedp.WaitVisible(chromedp.CSS(block + " button.execute")))
	if len(id) > 0 {
		input := chromedp.CSS(block + ` tr[data-param-name="id"] input`)
		p.Do(chromedp.Focus(input), chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)),
			chromedp.KeyEvent(kb.Delete), chromedp.SendKeys(input, id[0]))
	}
	if answered := Get(p, chromedp.Evaluate[bool](fmt.Sprintf(`document.querySelector("%s button.btn-clear") !== null`, block))); answered {
		p.Do(chromedp.Click(chromedp.CSS(block + " button.btn-clear"))) // so that the next answer is the new one
	}
	answer := block + " .live-responses-table tr.response "
	code := chromedp.CSS(answer + "td.response-col_status")
	p.Do(chromedp.Click(chromedp.CSS(block+" button.execute")), chromedp.WaitVisible(code))
	status, _, _ = strings.Cut(strings.TrimSpace(Get(p, chromedp.Text(code))), "\n")
	text := Get(p, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector("%s .highlight-code code")?.textContent ?? ""`, answer)))
	_ = json.Unmarshal([]byte(text), &members) // a 204 has none
	return strings.TrimSpace(status), members
}
