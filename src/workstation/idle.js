// Leaves a patient's page when nobody has touched it for a while: screens are shared.
(function () {
  'use strict';
  var seconds = Number(document.currentScript.getAttribute('data-seconds'));
  var last = Date.now();
  var touched = function () { last = Date.now(); };
  ['mousemove', 'mousedown', 'keydown', 'wheel', 'touchstart', 'scroll'].forEach(function (name) {
    document.addEventListener(name, touched, true);
  });
  setInterval(function () {
    if (Date.now() - last >= seconds * 1000) location.replace('/workstation/');
  }, 1000);
})();
