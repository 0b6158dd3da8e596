package web

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

const index = "sim/index.html"

var (
	importPath   = regexp.MustCompile(`(?m)(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'|new URL\('([^']+)', import\.meta\.url\)`)
	assetPath    = regexp.MustCompile(`(?:src|href)=["']([^"']+)["']|["'](/sim/[^"']+)["']`)
	outsideURL   = regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]{2,}`)
	inlineScript = regexp.MustCompile(`(?is)<script[^>]*>\s*[^<\s]`)
	inlineStyle  = regexp.MustCompile(`(?i)<style|\sstyle\s*=|\son[a-z]+\s*=\s*["']|javascript:`)
	evalUse      = regexp.MustCompile(`\beval\(|new Function\(|\.innerHTML|insertAdjacentHTML|document\.write|setAttribute\('style'`)
	testID       = regexp.MustCompile(`testid: '([a-z-]+)'`)
)

// svgNamespace is a name, not an address: nothing fetches it.
const svgNamespace = "http://www.w3.org/2000/svg"

func files(t *testing.T, extensions ...string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := fs.WalkDir(FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, ext := range extensions {
			if path.Ext(name) != ext {
				continue
			}
			text, err := fs.ReadFile(FS, name)
			if err != nil {
				return err
			}
			found[name] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func exists(name string) bool {
	info, err := fs.Stat(FS, name)
	return err == nil && !info.IsDir()
}

func TestIndexIsEmbedded(t *testing.T) {
	t.Parallel()
	if !exists(index) {
		t.Fatalf("%s is not embedded", index)
	}
}

func TestOnlyKnownKindsOfFilesAreEmbedded(t *testing.T) {
	t.Parallel()
	known := map[string]bool{".html": true, ".css": true, ".js": true, ".svg": true}
	err := fs.WalkDir(FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !known[path.Ext(name)] {
			t.Errorf("%s is embedded", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAssetsNameNoOutsideHost(t *testing.T) {
	t.Parallel()
	for name, text := range files(t, ".html", ".css", ".js", ".svg") {
		text = strings.ReplaceAll(text, svgNamespace, "")
		for _, url := range outsideURL.FindAllString(text, -1) {
			t.Errorf("%s names the outside address %s", name, url)
		}
	}
}

func TestNothingIsInline(t *testing.T) {
	t.Parallel()
	for name, text := range files(t, ".html", ".svg") {
		if found := inlineScript.FindString(text); found != "" {
			t.Errorf("%s has an inline script: %s", name, found)
		}
		if found := inlineStyle.FindString(text); found != "" {
			t.Errorf("%s has an inline style or handler: %s", name, found)
		}
	}
	for name, text := range files(t, ".js") {
		if found := evalUse.FindString(text); found != "" {
			t.Errorf("%s builds code, markup or styles from text: %s", name, found)
		}
	}
}

func TestEveryImportExists(t *testing.T) {
	t.Parallel()
	for name, text := range files(t, ".js") {
		for _, match := range importPath.FindAllStringSubmatch(text, -1) {
			target := match[1] + match[2]
			if !strings.HasPrefix(target, ".") {
				t.Errorf("%s imports %q, which is not a file of ours", name, target)
				continue
			}
			if resolved := path.Join(path.Dir(name), target); !exists(resolved) {
				t.Errorf("%s imports %s, which is not embedded", name, resolved)
			}
		}
	}
}

func TestEveryAssetExists(t *testing.T) {
	t.Parallel()
	for name, text := range files(t, ".html", ".js") {
		for _, match := range assetPath.FindAllStringSubmatch(text, -1) {
			target := match[1] + match[2]
			asset, ours := strings.CutPrefix(target, "/sim/")
			if !ours && path.Ext(name) == ".html" {
				t.Errorf("%s refers to %s, which is not below /sim/", name, target)
			}
			if ours && !exists(asset) {
				t.Errorf("%s refers to %s, which is not embedded", name, target)
			}
		}
	}
}

// One id for two kinds of elements would let the browser story click the wrong
// one.
func TestPagesHaveDistinctTestIDs(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for name, text := range files(t, ".js") {
		for _, match := range testID.FindAllStringSubmatch(text, -1) {
			if other, twice := seen[match[1]]; twice {
				t.Errorf("test id %q is in %s and in %s", match[1], other, name)
			}
			seen[match[1]] = name
		}
	}
}
