// What the page does better with JavaScript. Without it everything is there too: links and forms do the same.
import "./navigation.js";
import "./panels.js";
import "./drawer.js";
import "./rows.js";
import "./copying.js";
import "./keyboard.js";
import "./exports.js";
