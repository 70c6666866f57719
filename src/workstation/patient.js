// A patient's page without the application: leaves it when nobody has touched it for a while, for
// screens are shared, and shows how far studies are that arrive.
(function () {
  'use strict';
  var seconds = Number(document.querySelector('[data-seconds]').getAttribute('data-seconds'));
  var last = Date.now();
  var touched = function () { last = Date.now(); };
  ['mousemove', 'mousedown', 'keydown', 'wheel', 'touchstart', 'scroll'].forEach(function (name) {
    document.addEventListener(name, touched, true);
  });
  setInterval(function () {
    if (Date.now() - last >= seconds * 1000) location.replace('/workstation/');
  }, 1000);

  var table = document.querySelector('table[data-notice]');
  if (!table) return;

  function show(rows) {
    var cells = table.querySelectorAll('td[data-study]');
    for (var i = 0; i < cells.length; i += 1) {
      var row = rows[cells[i].getAttribute('data-study')];
      if (row && row.progress === 'here') cells[i].textContent = table.getAttribute('data-here');
      if (row && row.progress === 'arriving') {
        cells[i].textContent = table.getAttribute('data-arriving') + ' ' + row.here + ' / ' +
          (row.expected || '?');
      }
    }
    for (var uid in rows) if (rows[uid].progress === 'arriving') return look();
  }

  function look() {
    setTimeout(function () {
      var request = new XMLHttpRequest();
      request.open('GET', '/workstation/progress/' + table.getAttribute('data-notice'));
      request.setRequestHeader('Accept', 'application/json');
      request.onload = function () {
        if (request.status === 200) show(JSON.parse(request.responseText));
      };
      request.onerror = look;
      request.send();
    }, 2000);
  }

  look();
})();
