// Starts the application where the browser can run it (Chrome 88, Firefox 84, Safari 14 and newer:
// the first with `:is()` in style sheets), else what the page needs without it.
(function () {
  'use strict';
  var me = document.currentScript;
  var say = function (name) { return me.getAttribute('data-' + name); };

  function load(source, type, failed) {
    var script = document.createElement('script');
    if (type) script.type = type;
    script.src = source;
    script.nonce = me.nonce;
    if (failed) script.onerror = failed;
    document.head.appendChild(script);
  }

  function plain() {
    if (say('plain')) load('/workstation/' + say('plain') + '.js');
  }

  var able = say('app') && window.CSS && CSS.supports && CSS.supports('selector(:is(a))') &&
    'noModule' in HTMLScriptElement.prototype && window.EventSource;
  if (!able) return plain();
  if (say('style')) {
    var style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = say('style');
    document.head.appendChild(style);
  }
  load(say('app'), 'module', plain);
})();
