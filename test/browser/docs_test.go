package browser_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollbook/rollbook/test/browser"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

var screenshot = flag.String("screenshot", "", "write a picture of the documentation to this file")

const loaded = chromedp.CSS("#operations-users-registerUser")

// A person registers, authorises with the token, reads and updates the profile, logs out, and is refused.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	page := browser.Open(t)
	page.Do(chromedp.EmulateViewport(1100, 1000), chromedp.Navigate(s.URL+"/docs/"), chromedp.WaitVisible(loaded))
	if *screenshot != "" {
		if err := os.WriteFile(*screenshot, browser.Get(page, chromedp.CaptureScreenshot()), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	status, body := page.TryOut("users-registerUser") // with the example as it stands
	id, _ := body["id"].(string)
	token, _ := body["auth_token"].(string)
	if status != "201" || body["username"] != "richard" || id == "" || token == "" {
		t.Fatalf("register: %s %v", status, body)
	}
	page.Do(
		chromedp.Click(chromedp.CSS(".auth-wrapper button.authorize")),
		chromedp.SendKeys(chromedp.CSS(".modal-ux .auth-container input"), token), // of the first scheme
		chromedp.Click(chromedp.CSS(".modal-ux button.authorize")),
		chromedp.WaitVisible(chromedp.CSS(`.modal-ux button[aria-label="Remove authorization"]`)),
		chromedp.Click(chromedp.CSS(".modal-ux button.btn-done")),
	)
	if status, body = page.TryOut("users-getUser", id); status != "200" || body["id"] != id {
		t.Errorf("read: %s %v", status, body)
	}
	if status, body = page.TryOut("users-patchUser", id); status != "200" || body["last_name"] != "Hendriks" {
		t.Errorf("update: %s %v", status, body)
	}
	if status, body = page.TryOut("users-getCurrentUser"); status != "200" || body["id"] != id {
		t.Errorf("read one's own: %s %v", status, body)
	}
	if status, _ = page.TryOut("tokens-logOut"); status != "204" {
		t.Errorf("log out: %s", status)
	}
	if complaints := page.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
	if status, body = page.TryOut("users-getCurrentUser"); status != "401" || body["detail"] != "Invalid token." {
		t.Errorf("read with a dead token: %s %v", status, body)
	}
	for _, complaint := range page.Complaints() {
		if !strings.Contains(complaint, "status of 401") { // which is as it should be
			t.Errorf("the browser complains: %q", complaint)
		}
	}
	urls := page.URLs()
	for _, url := range urls {
		if !strings.HasPrefix(url, s.URL+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("a request left the machine: %s", url)
		}
	}
	if len(urls) < 10 {
		t.Errorf("only these requests were seen: %v", urls)
	}
}

func TestDocumentationOnAPhone(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	page := browser.Open(t)
	page.Do(
		chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile),
		chromedp.Navigate(s.URL+"/docs/"), chromedp.WaitVisible(loaded),
	)
	if status, body := page.TryOut("users-registerUser"); status != "201" {
		t.Errorf("register: %s %v", status, body)
	}
	wide := browser.Get(page, chromedp.Evaluate[[]string](`
		[...document.querySelectorAll(".info, .opblock-summary, .execute, .body-param, .live-responses-table .highlight-code")]
			.filter(e => e.getBoundingClientRect().right > 391).map(e => e.className)`))
	if len(wide) > 0 {
		t.Errorf("these do not fit: %q", wide)
	}
	if complaints := page.Complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
}

// No complaint means nothing unless complaints are heard.
func TestComplaintsAreHeard(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	page := browser.Open(t)
	page.Do(chromedp.Navigate(s.URL+"/docs/"), chromedp.WaitVisible(loaded))
	browser.Get(page, chromedp.Evaluate[bool](`
		console.error("an error");
		document.head.append(Object.assign(document.createElement("script"), {text: "1"}));
		document.body.append(Object.assign(document.createElement("img"), {src: "http://127.0.0.2:9/x.png"}));
		setTimeout(() => { throw new Error("thrown") });
		true`))
	var heard string
	for _, want := range []string{"an error", "inline script", "127.0.0.2", "thrown"} {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(heard, want); time.Sleep(10 * time.Millisecond) {
			heard += strings.Join(page.Complaints(), "\n")
			if time.Now().After(deadline) {
				t.Fatalf("%s was not heard: %s", want, heard)
			}
		}
	}
}
