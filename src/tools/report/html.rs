//! Pages that stand alone: one file, no scripts, nothing from elsewhere, light and dark as the reader's system is.

use super::table::Table;

/// Colours are those of the whole page; charts use them by class.
const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fbfbf9;--card:#fff;--ink:#1d2126;--soft:#5c6570;--line:#d9dde2;--grid:#e9ecef;\
--good:#18794e;--goodback:#e3f4ea;--bad:#b42318;--badback:#fdeae7;--band:#aeb6bf;\
--c0:#c2410c;--c1:#b58900;--c2:#2563a8;--c3:#7c3aad;--c4:#0f766e;--c5:#6b7280}\
@media(prefers-color-scheme:dark){:root{--page:#14171a;--card:#1c2024;--ink:#e7eaee;--soft:#9aa4af;--line:#363d45;\
--grid:#2a3037;--good:#6fd3a0;--goodback:#173327;--bad:#ff9c8f;--badback:#3d1f1b;--band:#6b7580;\
--c0:#ff8a4c;--c1:#e2bd3f;--c2:#74b0f4;--c3:#c79bf2;--c4:#4fc7ba;--c5:#9aa3ad}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{max-width:1040px;margin:0 auto;padding:32px 20px 56px}\
h1{font-size:27px;line-height:1.2;margin:0 0 6px}h2{font-size:19px;margin:36px 0 10px}\
h3{font-size:15px;margin:0 0 2px}p{margin:6px 0}.soft{color:var(--soft)}\
.verdict{border-radius:8px;padding:12px 16px;margin:18px 0}.verdict b{font-size:17px}\
.verdict ul{margin:4px 0 0;padding-left:20px}\
.good{background:var(--goodback);color:var(--good)}.bad{background:var(--badback);color:var(--bad)}\
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px;margin:14px 0}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}\
th{font-weight:600;color:var(--soft);font-size:13px}th:first-child,td:first-child{text-align:left;padding-left:0}\
tr:last-child td{border-bottom:0}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0}dt{color:var(--soft)}dd{margin:0;\
overflow-wrap:anywhere}code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace}\
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}\
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;color:var(--soft);font-size:13px}\
.legend span::before{content:'';display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;\
vertical-align:-1px;background:var(--key)}\
.grid{stroke:var(--grid)}.axis{stroke:var(--line)}.mark{stroke:var(--ink);stroke-dasharray:3 3;opacity:.65}\
svg text.marked{fill:var(--ink)}.band{fill:var(--band);opacity:.28}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}.fill{stroke:none;opacity:.28}\
@media print{body{background:#fff}.card{break-inside:avoid}}";

/// `text` as content or as the value of an attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in super::plain(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// A page that grows from top to bottom. All texts are escaped here.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// With a title, and a line that says what this is.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"soft\">{}</p>\n", escaped(title), escaped(lead));
        Self { title: escaped(title), body }
    }

    /// Whether all is good, and why not.
    pub fn verdict(&mut self, good: bool, text: &str, reasons: &[String]) {
        let class = if good { "good" } else { "bad" };
        self.body += &format!("<div class=\"verdict {class}\"><b>{}</b>", escaped(text));
        if !reasons.is_empty() {
            let items: String = reasons.iter().map(|reason| format!("<li>{}</li>", escaped(reason))).collect();
            self.body += &format!("<ul>{items}</ul>");
        }
        self.body += "</div>\n";
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escaped(text));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.body += &format!("<p class=\"soft\">{}</p>\n", escaped(text));
    }

    /// Names with their values.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        let rows = facts.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value)));
        self.body += &format!("<div class=\"card\"><dl>{}</dl></div>\n", rows.collect::<String>());
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        let row = |tag: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = table.rows().iter().map(|cells| row("td", cells)).collect();
        self.body += &format!("<div class=\"card scroll\"><table>{}{rows}</table></div>\n", row("th", table.head()));
    }

    /// A chart.
    pub fn chart(&mut self, chart: &super::chart::Chart) {
        self.body += &format!("<div class=\"card\">{}</div>\n", chart.figure());
    }

    /// A bar chart.
    pub fn bars(&mut self, bars: &super::bars::Bars) {
        self.body += &format!("<div class=\"card\">{}</div>\n", bars.figure());
    }

    /// The whole file.
    pub fn text(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <title>{}</title>\n<style>{STYLE}</style></head>\n<body><main>\n{}</main></body></html>\n",
            self.title, self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "<script>alert('1')</script>\"&\u{202e}";
        let mut page = Page::new(evil, evil);
        page.verdict(false, evil, &[evil.to_owned()]);
        page.facts(&[(evil, evil.to_owned())]);
        let mut table = Table::new(&[evil]);
        table.row(vec![evil.into()]);
        page.table(&table);
        page.heading(evil);
        page.paragraph(evil);
        let text = page.text();
        assert!(!text.contains("<script") && !text.contains("alert('1')") && !text.contains('\u{202e}'), "{text}");
        assert_eq!(text.matches("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;").count(), 11);
    }
}
