"""WebKitGTK for spec/browser/webkit_spec.lua: python3 webkit.py URL opens a page, and writes a line
for each text that the page gives to webkit.messageHandlers.said.postMessage(). Without a URL it
only tells whether it could."""
import sys

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import Gtk, WebKit2  # noqa: E402

if len(sys.argv) < 2:
    sys.exit(0)
context = WebKit2.WebContext.new_ephemeral()
# the certificates of specs are their own
context.get_website_data_manager().set_tls_errors_policy(WebKit2.TLSErrorsPolicy.IGNORE)
view = WebKit2.WebView.new_with_context(context)
content = view.get_user_content_manager()
content.connect("script-message-received::said",
                lambda _, said: print(said.get_js_value().to_string(), flush=True))
content.register_script_message_handler("said")
window = Gtk.Window()
window.add(view)
window.show_all()
view.load_uri(sys.argv[1])
Gtk.main()
