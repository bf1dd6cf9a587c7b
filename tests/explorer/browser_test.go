package explorer

import (
	"context"
	_ "embed" // embeds helper.js
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

const (
	// patience is how long a test waits for something that must happen. It is long, because the
	// tests share a busy machine.
	patience = 15 * time.Second
	// pollInterval is the interval at which a test checks a condition of a page.
	pollInterval = 20 * time.Millisecond
	// width and height are the size of the window in CSS pixels.
	width, height = 1200, 800
)

//go:embed helper.js
var helper string

// browser is the browser that all tests share. The first test that needs it starts it.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.stop != nil {
		browser.stop()
	}
	os.Exit(code)
}

// startBrowser returns the context of the browser. If chromium is missing, the test is skipped, or
// fails if the environment variable CI is set.
func startBrowser(t testing.TB) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("install chromium: %v", err)
		}
		t.Skip("install chromium: these tests need a browser")
	}
	browser.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(width, height),
			// The browser must not connect to other machines.
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
			chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		browser.ctx, browser.err = ctx, chromedp.Do(ctx)
		browser.stop = func() { cancel(); stop() }
	})
	require.NoError(t, browser.err)
	return browser.ctx
}

// serve serves HTTP until the test ends. It returns the address.
func serve(t testing.TB, handler http.Handler) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = gateway.Server(handler)
	server.Start()
	t.Cleanup(server.Close)
	// Close the connections here, because the browser keeps them open for some time after its tab
	// is closed.
	t.Cleanup(server.CloseClientConnections)
	return server.URL
}

// page is a tab of the browser, with cookies and storage of its own.
type page struct {
	t   testing.TB
	ctx context.Context

	mu sync.Mutex
	// complaints contains the errors and warnings that the page has written to the console,
	// uncaught exceptions, and violations of the page's content security policy.
	complaints []string
	// failures contains the requests of the page that the browser reports as failed.
	failures []string
	// addresses contains the URLs of all requests.
	addresses []string
	// failuresExpected reports whether the requests of the page may fail. Complaints that contain
	// complaintsExpected are ignored, unless complaintsExpected is empty.
	failuresExpected   bool
	complaintsExpected string
	// finished is closed when the browser has reported lastWords.
	finished chan struct{}
}

// lastWords is the message that finish writes to the console. finish waits until the browser has
// reported it.
const lastWords = "the test is over"

// newPage opens an empty tab. The test fails at its end if the page has complained or has sent a
// request to another machine. It also fails if a request has failed, unless expectFailures was
// called.
func newPage(t testing.TB) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(startBrowser(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx)) // the tab lives as long as the context of its first action
	p := &page{t: t, ctx: ctx, finished: make(chan struct{})}
	p.do(chromedp.EmulateViewport(width, height))
	p.listen()
	call(p, network.Enable, network.EnableParams{})
	call(p, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: helper})
	t.Cleanup(p.finish)
	return p
}

// listen collects the events that the test checks at its end.
func (p *page) listen() {
	each(p, runtime.ConsoleAPICalled, func(e runtime.EventConsoleAPICalled) {
		var texts []string
		for _, arg := range e.Args {
			texts = append(texts, strings.Trim(string(arg.Value)+arg.Description, `"`))
		}
		text := strings.Join(texts, " ")
		switch {
		case text == lastWords:
			close(p.finished)
		case e.Type == runtime.ConsoleAPICalledTypeError, e.Type == runtime.ConsoleAPICalledTypeWarning, e.Type == runtime.ConsoleAPICalledTypeAssert:
			p.complaints = append(p.complaints, text)
		}
	})
	each(p, runtime.ExceptionThrown, func(e runtime.EventExceptionThrown) {
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += ": " + e.ExceptionDetails.Exception.Description
		}
		p.complaints = append(p.complaints, text)
	})
	each(p, cdplog.EntryAdded, func(e cdplog.EventEntryAdded) {
		text := fmt.Sprintf("%s (%s)", e.Entry.Text, e.Entry.URL)
		switch {
		case e.Entry.Level != cdplog.EntryLevelError && e.Entry.Level != cdplog.EntryLevelWarning:
		case e.Entry.Source == cdplog.EntrySourceNetwork:
			p.failures = append(p.failures, text)
		default:
			p.complaints = append(p.complaints, text)
		}
	})
	each(p, network.RequestWillBeSent, func(e network.EventRequestWillBeSent) {
		p.addresses = append(p.addresses, e.Request.URL)
	})
	each(p, network.WebSocketCreated, func(e network.EventWebSocketCreated) {
		p.addresses = append(p.addresses, e.URL)
	})
}

// each makes the page call handle for every further event of a kind. The page's lock is held during
// these calls.
func each[E any](p *page, event cdp.Event[E], handle func(E)) {
	events := chromedp.Events(p.ctx, event)
	go func() { // It ends when the tab is closed.
		for e, err := range events {
			if err != nil {
				return
			}
			p.mu.Lock()
			handle(e)
			p.mu.Unlock()
		}
	}()
}

// expectFailures allows requests of the page to fail from now on.
func (p *page) expectFailures() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failuresExpected = true
}

func (p *page) finish() {
	if p.t.Failed() {
		p.t.Logf("the page %s shows:\n%s", p.location(), p.text())
		p.saveScreenshot()
	}
	if _, err := tryEval[chromedp.Void](p, fmt.Sprintf("console.debug(%q)", lastWords)); assert.NoError(p.t, err) {
		select {
		case <-p.finished:
		case <-time.After(patience):
			p.t.Error("the browser does not tell what the page has written")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, complaint := range p.complaints {
		if p.complaintsExpected == "" || !strings.Contains(complaint, p.complaintsExpected) {
			assert.Fail(p.t, "the page has complained", complaint)
		}
	}
	if !p.failuresExpected {
		assert.Empty(p.t, p.failures, "requests of the page have failed")
	}
	for _, address := range p.addresses {
		u, err := url.Parse(address)
		if assert.NoError(p.t, err) && u.Scheme != "data" && u.Scheme != "blob" && u.Scheme != "about" {
			assert.Contains(p.t, []string{"127.0.0.1", "localhost"}, u.Hostname(), "the page has asked for %s", address)
		}
	}
}

// saveScreenshot saves a picture of a page whose test has failed.
func (p *page) saveScreenshot() {
	picture, err := p.capture()
	if err != nil {
		p.t.Log(err)
		return
	}
	file, err := os.CreateTemp("", "explorer-*.png")
	if err != nil {
		p.t.Log(err)
		return
	}
	defer file.Close()
	if _, err := file.Write(picture); err == nil {
		p.t.Log("a picture of the page is in", file.Name())
	}
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

// call sends a command of the debugging protocol.
func call[P, R any](p *page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	require.NoError(p.t, err)
	return result
}

// open loads an address and waits until it has been loaded.
func (p *page) open(address string) {
	p.t.Helper()
	p.do(chromedp.Navigate(address))
}

// eval returns the value of a JavaScript expression. If it is a promise, eval waits for it.
func eval[T any](p *page, expression string, args ...any) T {
	p.t.Helper()
	expression = js(p.t, expression, args...)
	value, err := tryEval[T](p, expression)
	require.NoError(p.t, err, expression)
	return value
}

func tryEval[T any](p *page, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	wait := func(params *runtime.EvaluateParams) { params.AwaitPromise = new(true) }
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, wait))
}

// js replaces each %s in a JavaScript expression with a value.
func js(t testing.TB, expression string, args ...any) string {
	t.Helper()
	if len(args) == 0 {
		return expression
	}
	encoded := make([]any, len(args))
	for i, arg := range args {
		value, err := json.Marshal(arg)
		require.NoError(t, err)
		encoded[i] = string(value)
	}
	return fmt.Sprintf(expression, encoded...)
}

// eventually waits until a JavaScript expression is true. If it is a promise, its result must be
// true.
func (p *page) eventually(expression string, args ...any) {
	p.t.Helper()
	expression = js(p.t, expression, args...)
	p.within(patience, func() error {
		is, err := tryEval[bool](p, "(async () => Boolean(await ("+expression+")))()")
		if err == nil && !is {
			err = fmt.Errorf("never true: %s", expression)
		}
		return err
	})
}

// within calls check repeatedly until check returns nil. It fails the test if that takes longer
// than limit.
func (p *page) within(limit time.Duration, check func() error) {
	p.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			require.NoError(p.t, err, "after %v", limit)
		}
	}
}

// shows waits until the page shows a text.
func (p *page) shows(text string) {
	p.t.Helper()
	p.eventually("tester.text().includes(%s)", text)
}

// responds waits until the page Method shows a text in the response of a single call. In contrast,
// shows would also find the text in the request.
func (p *page) responds(text string) {
	p.t.Helper()
	p.eventually("tester.find('region', 'Response')?.textContent.includes(%s)", text)
}

// has waits until the page has a visible element with a role and a name.
func (p *page) has(role, name string) {
	p.t.Helper()
	p.eventually("tester.find(%s, %s)", role, name)
}

// click clicks on the middle of an element with the mouse, as soon as nothing covers it.
func (p *page) click(role, name string) {
	p.t.Helper()
	var spot struct {
		X, Y    float64
		Problem string
	}
	p.within(patience, func() (err error) {
		spot, err = tryEval[struct {
			X, Y    float64
			Problem string
		}](p, js(p.t, "tester.spot(%s, %s)", role, name))
		if err == nil && spot.Problem != "" {
			err = fmt.Errorf("cannot click on the %s %q: %s", role, name, spot.Problem)
		}
		return err
	})
	p.do(chromedp.MouseClickXY(spot.X, spot.Y))
}

// fill replaces the content of a field as typing does.
func (p *page) fill(role, name, text string) {
	p.t.Helper()
	p.eventually("tester.focus(%s, %s)", role, name)
	if text == "" {
		p.press(kb.Delete)
		return
	}
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// choose chooses an option of a list.
func (p *page) choose(name, option string) {
	p.t.Helper()
	p.eventually("tester.choose('combobox', %s, %s)", name, option)
}

// press presses and releases keys.
func (p *page) press(keys string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
}

// maxTabs is the maximum number of times that tabTo presses Tab. No element of a page may be
// further away.
const maxTabs = 80

// tabTo presses Tab until an element has the focus, and requires that the element shows the focus.
func (p *page) tabTo(role, name string) {
	p.t.Helper()
	p.has(role, name)
	for range maxTabs {
		if eval[bool](p, "tester.focused(%s, %s)", role, name) {
			require.True(p.t, eval[bool](p, "tester.showsFocus()"), "the %s %q does not show that it has the focus", role, name)
			return
		}
		p.press(kb.Tab)
	}
	require.Fail(p.t, "not reached with Tab", "the %s %q", role, name)
}

func (p *page) text() string {
	text, _ := tryEval[string](p, "tester.text()")
	return text
}

func (p *page) location() string {
	location, _ := tryEval[string](p, "location.href")
	return location
}

// prefer makes the browser report that the user prefers a light or a dark page, and reduced motion.
func (p *page) prefer(scheme string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// zoom makes the window show everything larger, as the browser's zoom does.
func (p *page) zoom(factor int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width/factor, height/factor, chromedp.EmulateScale(float64(factor))))
}

// capture returns a picture of the window as PNG.
func (p *page) capture() ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}
